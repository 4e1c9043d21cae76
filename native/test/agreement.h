#pragma once

#include <string>
#include <vector>

#include "test/case.h"
#include "test/reference.h"

namespace infonce::test {

// The results of a call that a precision allows.
class Expectation {
 public:
  Expectation(const Inputs &from, infonce_precision precision, const Reference &exact);
  Expectation(const Inputs &from, infonce_precision precision) : Expectation(from, precision, reference(from)) {}

  // Checks losses and gradients by ||got - expected|| / ||expected||, and the ranks of 'highest'.
  void check(const Output &got) const;

 private:
  struct Deviation {
    std::string what;
    double error;
    double bound;
  };

  std::vector<Deviation> deviations(const Reference &expected, const Output &got) const;
  template <class Number>
  Deviation of(const std::string &what, const Buffer<Number> &got, const std::vector<double> &expected,
               double size) const;
  Deviation of_grad_scale(const Reference &expected, const Output &got) const;

  const Inputs &inputs_;
  infonce_precision precision_;
  // The exact results; also those of rounded operands where rounding alone exceeds the bounds: below temperature 0.05,
  // and in few dimensions, over which it does not average out.
  std::vector<Reference> references_;
};

}  // namespace infonce::test
