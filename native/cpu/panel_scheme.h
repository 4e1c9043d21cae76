// The float32 scheme. Exponentials e_ij = exp(s_ij - shift) of the whole matrix are computed once, block by block (for
// one tower only the upper triangle: e is symmetric), and as many as fit the panel are kept for the gradient, where
// W_ij = e_ij (weight_i + weight_j) is formed on the fly. Tiles that do not fit are computed again.
//
//   N^2 D multiply-adds = 2 N^2 D FLOP a full product:  one tower 3 N^2 D (kept) or 4 N^2 D, two towers 6 or 8 N M D.
#pragma once

#include "cpu/passes.h"

namespace infonce::cpu {

class PanelScheme final : public Scheme {
 public:
  PanelScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  // Whether a constant shift can hold exponentials of logits up to this size, and whether it does for every row.
  static bool can_hold(double largest_logit);
  static bool surely_holds(double largest_logit);

  void take_kept(Workspace::Cursor &cursor) override { passes_.take_kept(cursor, kernels_.bfloat16); }
  void take_scratch(Workspace::Cursor &cursor) override;
  int64_t tables() const override;
  // Serves unless float32 cannot do it: logits too large, a row's sum that fell out of the safe range, a class that has
  // contracted to a point.
  Outcome forward(infonce_result *result) override;
  void resume() override;
  void backward(infonce_result *result) override;

 private:
  // A tile is a square of blocks that is computed and used as a whole.
  struct Tile {
    int64_t row_block, column_block;  // first of the tile
    int64_t row_blocks, column_blocks;
    bool on_diagonal;  // of one tower: only blocks with row <= column
    bool of_memory;    // its columns have neither sums nor gradients
    float *kept;       // null: computed again in the gradient pass

    int64_t blocks() const { return on_diagonal ? row_blocks * (row_blocks + 1) / 2 : row_blocks * column_blocks; }
    int64_t index(int64_t i, int64_t j) const {
      return on_diagonal ? i * row_blocks - i * (i - 1) / 2 + (j - i) : i * column_blocks + j;
    }
  };

  struct Slots {  // partial sums and counts of one tile: [slot][block][row of block]
    float *sum, *above;
  };

  void plan_tiles();
  void find_pairs();
  void place_tiles();
  float *block_of(const Tile &tile, int64_t i, int64_t j) const;
  int64_t rows_of(int64_t padded_rows, int64_t block) const;

  void compute_tile(const Tile &tile, bool statistics);
  void compute_block(const Tile &tile, int64_t i, int64_t j, bool statistics, int thread);
  void add_statistics(const Tile &tile);
  void add_statistics(const Tile &tile, bool of_rows, int64_t b);
  bool sums_are_safe() const;
  void accumulate_tiles(infonce_result *result);
  void accumulate_owners(const Tile &tile, infonce_result *result);
  void finish_memory(const Tile &tile);
  void finish_all(Tower tower, float *accumulators, float *output);
  void finish(Tower tower, int64_t first, int64_t end, float *accumulators, float *output, int thread);
  bool has_column_gradient(const Tile &tile) const;

  // Rows of one side whose gradient one task accumulates: a block, or a part of one.
  struct Owner {
    bool of_rows;
    int64_t block;          // of the tile
    int64_t offset, count;  // rows within the block
  };
  std::vector<Owner> owners_of(const Tile &tile) const;
  void accumulate_owner(const Tile &tile, const Owner &owner, float *accumulators, bool accumulate, int thread);
  bool accumulate(const Tile &tile, const Owner &owner, bool blocks_are_transposed, int64_t first, int64_t end,
                  float *accumulators, bool accumulate, int thread);

  const Request &request_;
  const infonce_problem &problem_;
  const Kernels &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  Passes<float> passes_;

  int64_t block_ = 0, row_blocks_ = 0, column_blocks_ = 0;
  int64_t tile_blocks_ = 0;  // blocks along a tile's side
  int64_t panel_floats_ = 0, scratch_floats_ = 0;
  std::vector<Tile> tiles_;
  bool panel_is_filled_ = false;   // kept tiles hold their exponentials
  std::vector<bool> holds_pairs_;  // by row block and column block
  double shift_ = 0;

  float *panel_ = nullptr;         // kept tiles
  float *tile_scratch_ = nullptr;  // one tile that is not kept
  Slots row_slots_{}, column_slots_{};
  float *no_weight_ = nullptr;                                        // zeros: a direction without loss
  float *anchor_gradient_ = nullptr, *candidate_gradient_ = nullptr;  // accumulators when there are several tiles
  struct ThreadScratch {
    float *block, *pack, *accumulators, *statistics;
  };
  std::vector<ThreadScratch> scratch_;
  // Sums of <u, d loss / d u> over anchors, always over the same rows, so that the sum does not depend on how they were
  // shared out.
  std::vector<double> radial_, memory_radial_;
};

}  // namespace infonce::cpu
