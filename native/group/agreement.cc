#include "group/agreement.h"

#include <cstdio>
#include <cstring>

#include "group/collectives.h"

namespace infonce::group {
namespace {

std::string of(int rank, const Post &post) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(post.size());
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

// Of a version that may be any bytes.
std::string text_of(const char *version) { return {version, ::strnlen(version, sizeof Record().version)}; }

// What does not go together in two ranks' records; empty: they do.
std::string difference(const Record &mine, const Record &theirs) {
  if (theirs.kind != mine.kind)
    return std::string("is at ") + name_of(theirs.kind) + " where this rank is at " + name_of(mine.kind);
  if (theirs.sequence != mine.sequence)
    return "is at step " + std::to_string(theirs.sequence) + ", this rank at step " + std::to_string(mine.sequence);
  if (theirs.of_step != mine.of_step)
    return "is at the gradient of the loss of step " + std::to_string(theirs.of_step) + ", this rank at that of step " +
           std::to_string(mine.of_step);
  if (theirs.dim != mine.dim)
    return "has rows of " + std::to_string(theirs.dim) + " numbers, this rank of " + std::to_string(mine.dim);
  if (theirs.scale != mine.scale)
    return "has the scale (1 / temperature) " + number(theirs.scale) + ", this rank " + number(mine.scale) +
           ": reduce the gradient of a learned one over the group, as that of any parameter";
  if (theirs.bias != mine.bias) return "has the logit bias " + number(theirs.bias) + ", this rank " + number(mine.bias);
  if (theirs.form != mine.form)
    return "asks for something else: the loss, its options, its inputs and their types are the same on all ranks";
  return "";
}

}  // namespace

const char *name_of(Kind kind) {
  switch (kind) {
    case Kind::kBarrier:
      return "a barrier";
    case Kind::kReduction:
      return "allReduce";
    case Kind::kLoss:
      return "a loss";
    case Kind::kBackward:
      return "the gradient of a loss";
    case Kind::kSeveral:
      return "a loss of several dimensions";
    case Kind::kOpened:
    case Kind::kLosses:
    case Kind::kGradients:
      return "the end of a loss";
    default:
      return "its end";
  }
}

std::vector<Record> agree(const Post &post, const Record &mine) {
  const std::vector<Record> records = gather(post, mine);
  for (int rank = 0; rank < post.size(); ++rank) {
    if (records[rank].kind != Kind::kLeft) continue;
    const int64_t steps = records[rank].sequence;
    throw Lost(of(rank, post) + " left after " + std::to_string(steps) + (steps == 1 ? " step" : " steps"));
  }
  if (mine.status != INFONCE_OK) return records;
  for (int rank = 0; rank < post.size(); ++rank)
    if (const char *theirs = records[rank].version; std::strncmp(theirs, mine.version, sizeof mine.version) != 0)
      throw PeerFailed(rank, of(rank, post) + " has version " + text_of(theirs) + " of this package, this rank " +
                                 text_of(mine.version) + ": install the same for all");
  for (int rank = 0; rank < post.size(); ++rank)
    if (const Record &theirs = records[rank]; theirs.status != INFONCE_OK)
      throw PeerFailed(rank, of(rank, post) + ": " + theirs.message, theirs.bad_matrix, theirs.bad_row);
  for (int rank = 0; rank < post.size(); ++rank)
    if (const std::string differs = difference(mine, records[rank]); !differs.empty())
      throw PeerFailed(rank, of(rank, post) + " " + differs);
  return records;
}

}  // namespace infonce::group
