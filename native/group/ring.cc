#include "group/ring.h"

#include <algorithm>

namespace infonce::group {

Ring::Ring(const Post &post, const Travellers &travellers, const std::vector<Record> &records)
    : post_(post), travellers_(travellers), records_(records), mail_(post) {
  size_t rows = 0, columns = 0;
  for (const Record &record : records) {
    rows = std::max(rows, travellers.bytes(record, 1));
    columns = std::max(columns, travellers.column_bytes(record, 1, travellers.weights()));
  }
  own_rows_ = mail_.memory(travellers.bytes(owner(0), 1));
  own_columns_ = mail_.memory(travellers.column_bytes(owner(0), 1, travellers.weights()));
  for (char *&spare : spare_rows_) spare = mail_.memory(rows);
  for (char *&spare : spare_columns_) spare = mail_.memory(columns);
}

}  // namespace infonce::group
