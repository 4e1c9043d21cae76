#include "node/group.h"

#include <cstring>
#include <utility>
#include <vector>

#include "infonce/infonce.h"
#include "mpi/mpi_library.h"
#include "node/classes.h"
#include "node/failure.h"
#include "node/group_work.h"
#include "node/job.h"
#include "node/values.h"

namespace infonce::node {

namespace {

constexpr napi_type_tag kTag = {0x2f7c9d40e8b15a63, 0xb40d6e1f93a8275c};

GroupOptions read_options(Napi::Object object) {
  GroupOptions options;
  options.engine = static_cast<Engine>(to_enumerator(object.Get("engine"), "engine",
                                                     {{"mpi", static_cast<int32_t>(Engine::kMpi)},
                                                      {"local", static_cast<int32_t>(Engine::kLocal)},
                                                      {"nccl", static_cast<int32_t>(Engine::kNccl)}}));
  options.key = to_string(object.Get("key"), "key");
  options.rank = to_int32(object.Get("rank"), "rank");
  options.size = to_int32(object.Get("size"), "size");
  options.library = to_string(object.Get("library"), "library");
  if (options.engine == Engine::kNccl) {
    const Span<void> id = to_bytes(object.Get("id"), "id");
    if (id.size != sizeof(options.id.bytes)) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "id must have 128 bytes"};
    }
    std::memcpy(options.id.bytes, id.data, id.size);
    const double device = to_number(object.Get("device"), "device");
    options.device = device < 0 ? -1 : to_int32(device, "device");
  }
  options.patience = to_number(object.Get("patience"), "patience");
  options.to_miss = to_number(object.Get("toMiss"), "toMiss");
  options.version = to_string(object.Get("version"), "version");
  return options;
}

}  // namespace

Napi::Function Group::define(Napi::Env env) {
  return DefineClass(env, "Group",
                     {InstanceMethod<&Group::open>("open"), InstanceMethod<&Group::all_reduce>("allReduce"),
                      InstanceMethod<&Group::barrier>("barrier"), InstanceMethod<&Group::decline_step>("decline"),
                      InstanceMethod<&Group::take_missed>("takeMissed"), InstanceMethod<&Group::leave>("leave"),
                      InstanceMethod<&Group::abandon>("abandon"), InstanceMethod<&Group::end>("end")});
}

Group &Group::from(Napi::Value value) {
  if (!has_tag(value, kTag)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "group must be a process group"};
  }
  return *Unwrap(value.As<Napi::Object>());
}

Group::Group(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<Group>(info), pool_(std::make_shared<HostPool>(HostAllocator(*infonce_cpu_backend(), 0))) {
  Value().TypeTag(&kTag);
}

void Group::submit(Napi::Value done, std::unique_ptr<Work> work) {
  queue_.submit(Env(), std::make_unique<Job>(Value(), to_function(done, "done"), std::move(work)));
}

void Group::open(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] {
    GroupOptions options = read_options(to_object(info[0], "options"));
    if (options.engine == Engine::kMpi) {
      mpi::leave_libc_alone();
    }
    submit(info[1], std::make_unique<JoinWork>(*pool_, membership_, std::move(options)));
  });
}

void Group::all_reduce(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] {
    const Napi::Array array = to_array(info[0], "arrays");
    // What reads them may run JavaScript, which does not happen after they were taken.
    std::vector<Napi::Value> values;
    for (uint32_t k = 0; k < array.Length(); ++k) {
      values.push_back(array.Get(k));
    }
    const bool mean = to_flag(info[1], "mean");
    submit(info[2], std::make_unique<ReductionWork>(*pool_, membership_, values, mean));
  });
}

void Group::barrier(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { submit(info[0], std::make_unique<BarrierWork>(*pool_, membership_)); });
}

void Group::decline_step(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { decline(info.Env(), to_string(info[0], "why")); });
}

void Group::decline(Napi::Env env, std::string why) {
  auto work = std::make_unique<DeclineWork>(*pool_, membership_, std::move(why));
  queue_.submit(env, std::make_unique<Job>(Value(), Napi::Function(), std::move(work)));
}

Napi::Value Group::take_missed(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    Napi::Array steps = Napi::Array::New(info.Env());
    for (const group::Watch::Missed &missed : membership_->group().take_missed()) {
      Napi::Array ranks = Napi::Array::New(info.Env());
      for (const int rank : missed.ranks) {
        ranks[ranks.Length()] = Napi::Number::New(info.Env(), rank);
      }
      Napi::Object step = Napi::Object::New(info.Env());
      step["step"] = Napi::Number::New(info.Env(), static_cast<double>(missed.step));
      step["ranks"] = ranks;
      steps[steps.Length()] = step;
    }
    return steps;
  });
}

void Group::leave(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { submit(info[0], std::make_unique<LeaveWork>(*pool_, membership_)); });
}

void Group::abandon(const Napi::CallbackInfo &) { membership_->abandon(); }

void Group::end(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { membership_->end(); });
}

}  // namespace infonce::node
