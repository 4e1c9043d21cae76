// The float32 scheme. Exponentials e_ij = exp(s_ij - shift) of whole blocks are computed once, square by square (of a
// triangle only the upper half: e is symmetric), and as many as fit the panel are kept for the gradient, where
// W_ij = e_ij (weight_i + weight_j) is formed on the fly. Tiles that do not fit are computed again.
//
//   N^2 D multiply-adds = 2 N^2 D FLOP a full product:  a triangle 3 N^2 D (kept) or 4 N^2 D, others 6 or 8 N M D.
#pragma once

#include <map>

#include "cpu/passes.h"

namespace infonce::cpu {

class PanelScheme final : public Scheme {
 public:
  PanelScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  // Whether a constant shift can hold exponentials of logits up to this size, and whether it does for every row.
  static bool can_hold(double largest_logit);
  static bool surely_holds(double largest_logit);

  void take_up(const infonce_part *part, bool wants_gradient) override;
  void take_kept(Workspace::Cursor &cursor) override { passes_.take_kept(cursor, kernels_.bfloat16); }
  void take_scratch(Workspace::Cursor &cursor) override;
  void take_gradient(Workspace::Cursor &cursor) override;
  void take_panel(Workspace::Cursor &cursor) override;
  int64_t tables() const override;
  // Serves unless float32 is not enough: logits that are too large, a row's sum outside the safe range, a class that
  // has contracted to a point.
  Outcome open() override;
  BadRow add() override;
  Outcome close(infonce_result *result) override;
  void open_gradient() override;
  BadRow add_gradient(float *gradient) override;
  void close_gradient(infonce_result *result) override;
  void read_rows(int softmax, const infonce_travelling_rows &to) const override { passes_.read_rows(softmax, to); }
  void join_rows(int softmax, const infonce_travelling_rows &from) override { passes_.join_rows(softmax, from); }

 private:
  // The squares of a block, `block_` rows a side.
  struct Grid {
    const Block<float> *block;
    int64_t row_squares, column_squares;
    std::vector<bool> holds_pairs;  // by row and column of squares

    bool is_triangle() const { return block->is_triangle; }
  };
  // What of a grid is computed and used as a whole.
  struct Tile {
    const Grid *grid;
    int64_t row, column;    // of its first square
    int64_t rows, columns;  // squares
    bool on_diagonal;       // of a triangle: only squares with row <= column
    float *kept;            // null: computed again in the gradient pass

    int64_t squares() const { return on_diagonal ? rows * (rows + 1) / 2 : rows * columns; }
    int64_t index(int64_t i, int64_t j) const {
      return on_diagonal ? i * rows - i * (i - 1) / 2 + (j - i) : i * columns + j;
    }
    bool has_column_sums() const { return grid->block->columns.softmax && !on_diagonal; }
  };
  struct Slots {  // partial sums and counts of one tile: [slot][square][row of square]
    float *sum, *above, *slope;
  };
  // Rows of one side whose gradient one task accumulates: a square's, or a part of them.
  struct Owner {
    bool of_rows;
    int64_t square;         // of the tile
    int64_t offset, count;  // rows within it
  };
  // A matrix's gradient while tiles add to it.
  struct Accumulators {
    float *sums = nullptr;       // [squares][padded_dim / panel][block][panel]
    std::vector<bool> is_begun;  // by square
  };

  Grid grid_of(const Block<float> &block) const;
  void find_pairs(Grid *grid) const;
  void find_large_classes(Grid *grid) const;
  // Of rows of squares first ... end.
  std::vector<Tile> tiles_of(const Grid &grid, int64_t tile_squares, int64_t first, int64_t end) const;
  // Of the step: the part's, or the problem's.
  std::vector<Tile> &tiles() { return passes_.part() ? part_tiles_ : tiles_; }
  void place_tiles();
  void take_accumulators(Workspace::Cursor &cursor, int matrix, int64_t rows);
  float *square_of(const Tile &tile, int64_t i, int64_t j) const;
  int64_t rows_of(const Side<float> &side, int64_t square) const;

  void compute_tile(const Tile &tile, bool statistics);
  void compute_square(const Tile &tile, int64_t i, int64_t j, bool statistics, int thread);
  Threshold threshold_at(const LogitsBlock &square, const Block<float> &block, int thread);
  void sum_tile(const Tile &tile);
  void add_statistics(const Tile &tile, bool of_rows, int64_t s);
  bool sigmoid() const { return !pairs_.are_apart(); }
  bool sums_are_safe() const;

  // panel_gradient.cc
  bool accumulates_once() const { return tiles_.size() == 1 && !counts_apart_ && !request_.in_parts; }
  bool wants(int matrix) const { return matrix == kPart ? part_has_gradient_ : request_.wants(matrix); }
  bool accumulates(int matrix) const {
    return wants(matrix) || passes_.counts_all() || (matrix == kPart && passes_.counts_part());
  }
  bool has_column_gradient(const Tile &tile) const;
  std::vector<Owner> owners_of(const Tile &tile) const;
  void accumulate_tile(const Tile &tile, infonce_result *result);
  void accumulate_owner(const Tile &tile, const Owner &owner, float *accumulators, bool begun, int thread);
  bool accumulate(const Tile &tile, const Owner &owner, bool squares_are_transposed, int64_t first, int64_t end,
                  float *accumulators, bool begun, int thread);
  void clear_rest(Accumulators *accumulators) const;
  void count_apart();
  void finish_matrix(int matrix, int64_t rows, float *gradient);
  void finish(int matrix, int64_t first, int64_t end, float *accumulators, float *gradient, int thread);

  const Request &request_;
  const infonce_problem &problem_;
  const Kernels &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  Passes<float> passes_;

  int64_t block_ = 0;         // rows of a square
  int64_t tile_squares_ = 0;  // along a tile's side
  int64_t panel_floats_ = 0, scratch_floats_ = 0;
  std::vector<Grid> grids_;
  Grid part_grid_{};
  std::vector<Tile> tiles_, part_tiles_;
  const bool counts_apart_;
  const uint32_t standing_;  // bits by matrix: whose gradients go on from part to part
  bool has_losses_ = false, part_has_gradient_ = false;
  int32_t part_number_ = 0;
  bool panel_is_filled_ = false;  // kept tiles hold their exponentials
  struct KeptPart {
    int64_t floats;
    bool is_filled;
  };
  std::map<int32_t, KeptPart> kept_parts_;  // by number
  double shift_ = 0;

  float *panel_ = nullptr;         // kept tiles
  float *tile_scratch_ = nullptr;  // one tile that is not kept
  Slots row_slots_{}, column_slots_{};
  float *no_weight_ = nullptr;  // zeros: rows without loss
  Accumulators accumulators_[INFONCE_MOST_MATRICES + 1];
  struct ThreadScratch {
    float *square, *pack, *accumulators, *statistics;
    float *guide_dots;  // of a square; null without guides
  };
  std::vector<ThreadScratch> scratch_;
  // Sums of <u, d loss / d u> over anchors, or over the rows of all matrices, always over the same rows, so that the sum
  // does not depend on how they were shared out.
  std::vector<double> radial_, radial_apart_, radial_of_part_;
  double along_parts_ = 0;
};

}  // namespace infonce::cpu
