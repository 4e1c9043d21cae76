// The calls of one family: handles of its types, kept where MPI wants them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "group/transport.h"
#include "mpi/calls.h"
#include "mpi/families.h"

namespace infonce::mpi {

// The handles that a library has from the start.
template <typename F> struct Handles {
  typename F::Comm world;
  typename F::Datatype byte;
  typename F::Errhandler errors_return;
  typename F::Info no_info;
};

template <typename F> class TypedCalls : public Calls {
 public:
  TypedCalls(const Functions<F> &functions, const Handles<F> &handles) : mpi_(functions), handles_(handles) {}

  std::string version() override {
    std::string text(F::kLongestVersion, '\0');
    int length = 0;
    check(mpi_.get_library_version(text.data(), &length), "MPI_Get_library_version");
    return text.c_str();  // some count the final zero
  }

  bool initialized() override { return ask(mpi_.initialized, "MPI_Initialized"); }
  bool finalized() override { return ask(mpi_.finalized, "MPI_Finalized"); }

  bool any_thread() override {
    int level = 0;
    check(mpi_.query_thread(&level), "MPI_Query_thread");
    return level >= F::kMultiple;
  }

  bool init() override {
    int level = 0;
    check(mpi_.init_thread(nullptr, nullptr, F::kFunneled, &level), "MPI_Init_thread");
    return level >= F::kFunneled;
  }

  void finalize() override { check(mpi_.finalize(), "MPI_Finalize"); }

  Place join(bool own) override {
    if (own) {
      check(mpi_.comm_set_errhandler(handles_.world, handles_.errors_return), "MPI_Comm_set_errhandler");
    }
    check(mpi_.comm_dup(handles_.world, &comm_), "MPI_Comm_dup");
    check(mpi_.comm_set_errhandler(comm_, handles_.errors_return), "MPI_Comm_set_errhandler");
    Place place{};
    measure(comm_, place.rank, place.size);
    typename F::Comm host;
    check(mpi_.comm_split_type(comm_, F::kTypeShared, place.rank, handles_.no_info, &host), "MPI_Comm_split_type");
    measure(host, place.local_rank, place.local_size);
    check(mpi_.comm_free(&host), "MPI_Comm_free");
    return place;
  }

  void part() override { check(mpi_.comm_free(&comm_), "MPI_Comm_free"); }

  int send(int to, int tag, const void *bytes, size_t count) override {
    const int number = free_number();
    check(mpi_.isend(bytes, static_cast<int>(count), handles_.byte, to, tag, comm_, &requests_[number]), "MPI_Isend");
    return number;
  }

  int receive(int from, int tag, void *bytes, size_t count) override {
    const int number = free_number();
    check(mpi_.irecv(bytes, static_cast<int>(count), handles_.byte, from, tag, comm_, &requests_[number]), "MPI_Irecv");
    return number;
  }

  int barrier() override {
    const int number = free_number();
    check(mpi_.ibarrier(comm_, &requests_[number]), "MPI_Ibarrier");
    return number;
  }

  bool has_ended(int number, size_t &received) override {
    int ended = 0;
    check(mpi_.test(&requests_[number], &ended, status()), "MPI_Test");
    if (!ended) {
      return false;
    }
    received = count_of_status();
    free_.push_back(number);
    return true;
  }

  void cancel(int number) override { check(mpi_.cancel(&requests_[number]), "MPI_Cancel"); }

  bool find(size_t &count) override {
    int found = 0;
    check(mpi_.improbe(F::kAnySource, F::kAnyTag, comm_, &found, &found_, status()), "MPI_Improbe");
    count = found ? count_of_status() : 0;
    return found != 0;
  }

  int take(void *bytes, size_t count) override {
    const int number = free_number();
    check(mpi_.imrecv(bytes, static_cast<int>(count), handles_.byte, &found_, &requests_[number]), "MPI_Imrecv");
    return number;
  }

  void poll() override {
    int found = 0;
    check(mpi_.iprobe(F::kAnySource, F::kAnyTag, comm_, &found, status()), "MPI_Iprobe");
  }

 private:
  bool ask(int (*question)(int *), const char *name) {
    int flag = 0;
    check(question(&flag), name);
    return flag != 0;
  }

  void measure(typename F::Comm comm, int &rank, int &size) {
    check(mpi_.comm_rank(comm, &rank), "MPI_Comm_rank");
    check(mpi_.comm_size(comm, &size), "MPI_Comm_size");
  }

  void check(int code, const char *name) {
    if (code == 0) {
      return;
    }
    std::string text(F::kLongestError, '\0');
    int length = 0;
    if (mpi_.error_string(code, text.data(), &length) != 0) {
      text = "error " + std::to_string(code);
    }
    throw group::Lost(std::string(name) + ": " + text.c_str());
  }

  // Of a barrier or a send it means nothing.
  size_t count_of_status() {
    int count = 0;
    check(mpi_.get_count(status(), handles_.byte, &count), "MPI_Get_count");
    return count > 0 ? static_cast<size_t>(count) : 0;
  }

  int free_number() {
    if (free_.empty()) {
      requests_.emplace_back();
      return static_cast<int>(requests_.size()) - 1;
    }
    const int number = free_.back();
    free_.pop_back();
    return number;
  }

  typename F::Status *status() { return reinterpret_cast<typename F::Status *>(status_); }

  Functions<F> mpi_;
  Handles<F> handles_;
  typename F::Comm comm_{};
  std::vector<typename F::Request> requests_;
  std::vector<int> free_;
  typename F::Message found_{};
  alignas(std::max_align_t) unsigned char status_[F::kStatusSize];
};

}  // namespace infonce::mpi
