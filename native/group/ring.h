// Rows that go round the ring of ranks: at hop h a rank has those of the rank h before it.
#pragma once

#include <vector>

#include "group/mail.h"
#include "group/travellers.h"

namespace infonce::group {

class Ring {
 public:
  // `records`: everyone's, in which the sizes are. `rows`: where rows lie, which may be on a device.
  Ring(const Post &post, const Post &rows, const Travellers &travellers, const std::vector<Record> &records);

  const Record &owner(int hop) const { return records_[size_t(post_.before(hop))]; }
  // Where this rank's travellers are packed, and the numbers that belong to their rows.
  const Packed &own_rows() { return own_rows_; }
  char *own_columns() { return own_columns_; }
  // A rank before this one has failed, as its message said.
  bool neighbour_failed() const { return neighbour_failed_; }
  void forgive() { neighbour_failed_ = false; }

  // Calls visit(hop, rows, columns) with those of each rank while the next ones are on their way, its own at hop 0, where it
  // fills in the columns: `arrays` numbers a row. It returns whether all ranks go on; so does this. `status`: this rank's.
  template <class Visit> bool go_round(int arrays, const infonce_status &status, Visit &&visit) {
    Packed rows = own_rows_;
    char *columns = own_columns_;
    for (int hop = 0; hop <= travellers_.hops(); ++hop) {
      const bool goes_on = hop < travellers_.hops();
      if (goes_on) {
        failed_in(rows) = status != INFONCE_OK || neighbour_failed_;
        const Packed &next = spare_rows_[hop % 2];
        const Travellers::Sizes here = travellers_.sizes(owner(hop), hop + 1);
        const Travellers::Sizes coming = travellers_.sizes(owner(hop + 1), hop + 1);
        pass_on(mail_, rows.notes, next.notes, here.notes, coming.notes);
        pass_on(rows_mail_, rows.rows, next.rows, here.rows, coming.rows);
      }
      const auto pass_columns = [&] {
        pass_on(mail_, columns, spare_columns_[hop % 2], travellers_.column_bytes(owner(hop), hop + 1, arrays),
                travellers_.column_bytes(owner(hop + 1), hop + 1, arrays));
      };
      if (goes_on && hop > 0) pass_columns();
      post_.transport.dispatch();
      if (!visit(hop, rows, columns)) return false;
      if (goes_on && hop == 0) pass_columns();
      wait();
      rows = spare_rows_[hop % 2], columns = spare_columns_[hop % 2];
      if (goes_on) neighbour_failed_ |= failed_in(rows) != 0;
    }
    return true;
  }
  // What was posted arrives all the same.
  void wait() {
    mail_.wait();
    rows_mail_.wait();
  }

 private:
  void pass_on(Mail &mail, const char *here, char *next, size_t here_bytes, size_t next_bytes) {
    if (here_bytes > 0) mail.send(post_.right(), Channel::kForward, here, here_bytes);
    if (next_bytes > 0) mail.receive(post_.left(), Channel::kForward, next, next_bytes);
  }

  const Post &post_;
  const Travellers &travellers_;
  const std::vector<Record> &records_;
  Mail mail_, rows_mail_;
  bool neighbour_failed_ = false;
  Packed own_rows_, spare_rows_[2];
  char *own_columns_, *spare_columns_[2];
};

}  // namespace infonce::group
