// A generation of kernels: the tiles it takes, how it cuts work into them, and its launches.
#pragma once

#include "cuda/plan.h"

namespace infonce::cuda {

// The gradient of a block's rows, or of its columns too, through a panel.
struct PanelWork {
  Planes planes;
  TileShape shape;
  Terms terms;
  PanelPlan plan;
  WeightsOf weights;
  __nv_bfloat16 *panel;
  float *of_rows, *of_columns;  // accumulators; the latter for PanelUse::kRowsAndColumns

  PanelTask write() const {  // of no tiles yet
    PanelTask task{};
    task.weights = weights;
    task.panel = panel;
    task.panel_rows = plan.panel_rows * rows_of(shape);
    task.panel_columns = plan.panel_tiles * kTileColumns;
    return task;
  }
};

class Architecture {
 public:
  static const Architecture &sm80();
  static const Architecture &sm90();

  // Statistics.
  virtual TileShape shape_of_tiles(const Hardware &hardware, Planes planes, Terms terms, int64_t padded_dim) const = 0;
  SweepPlan plan_sweep(const Hardware &hardware, Planes planes, TileShape shape, int64_t rows, int64_t columns,
                       int64_t padded_dim, bool triangular) const;
  virtual void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task,
                          int runs, int tile_rows) const = 0;

  // The gradient in registers.
  virtual bool gradient_in_registers(const Hardware &hardware, Planes planes, int64_t padded_dim) const = 0;
  virtual RegisterBlocks gradient_blocks(const Hardware &hardware, Planes planes, int64_t padded_dim) const = 0;
  int32_t plan_splits(const Hardware &hardware, Planes planes, int64_t owner_rows, int64_t other_rows,
                      int64_t padded_dim) const;  // of the columns
  virtual void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) const = 0;
  virtual bool has_flash() const = 0;  // sm90::flash

  // The gradient through a panel.
  virtual bool panels_serve_columns() const = 0;
  virtual PanelPlan plan_panel(const Hardware &hardware, Planes planes, TileShape shape, PanelUse use, int64_t rows,
                               int64_t columns, int64_t padded_dim) const = 0;
  virtual void accumulate_through_panel(Stream &stream, const PanelWork &work) const = 0;

 protected:
  ~Architecture() = default;

 private:
  virtual void cut_into_runs(const Hardware &hardware, bool triangular, SweepPlan *plan) const = 0;
};

}  // namespace infonce::cuda
