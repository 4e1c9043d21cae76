#include "cuda/hardware.h"

namespace infonce::cuda {

// Half of what the tensor cores of the smallest devices do at most, and of the float64 units of all that have a display.
double Hardware::share_of_launch(const Operations &operations) const {
  constexpr double kOfClock = 256, kFloat64OfClock = 2;
  if (clocks_of_launch == 0) return 1;
  const double most = clocks_of_launch * (operations.is_float64 ? kFloat64OfClock : kOfClock);
  return operations.count > most ? most / operations.count : 1;
}

}  // namespace infonce::cuda
