#include "group/ring.h"

#include <algorithm>

namespace infonce::group {

Ring::Ring(const Post &post, const Post &rows, const Travellers &travellers, const std::vector<Record> &records)
    : post_(post), travellers_(travellers), records_(records), mail_(post), rows_mail_(rows) {
  Travellers::Sizes most{};
  size_t columns = 0;
  for (const Record &record : records) {
    const Travellers::Sizes sizes = travellers.sizes(record, 1);
    most = {std::max(most.rows, sizes.rows), std::max(most.notes, sizes.notes)};
    columns = std::max(columns, travellers.column_bytes(record, 1, travellers.weights()));
  }
  const auto memory = [&](const Travellers::Sizes &sizes) {
    return Packed{rows_mail_.memory(sizes.rows), rows.kind.residence(), mail_.memory(sizes.notes)};
  };
  own_rows_ = memory(travellers.sizes(owner(0), 1));
  own_columns_ = mail_.memory(travellers.column_bytes(owner(0), 1, travellers.weights()));
  for (Packed &spare : spare_rows_) spare = memory(most);
  for (char *&spare : spare_columns_) spare = mail_.memory(columns);
}

}  // namespace infonce::group
