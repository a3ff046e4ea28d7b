#include "userspace/ctl/table.h"

#include <algorithm>

#include "userspace/ctl/text.h"

namespace tollgate::ctl {

void print(std::ostream& out, const Table& table) {
  std::vector<std::string> names;
  std::vector<size_t> widths;
  for (const Column& column : table.columns) {
    names.push_back(column.name);
    widths.push_back(width(column.name));
  }
  for (const auto& row : table.rows) {
    if (row.size() == 1) continue;
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width(row[i]));
  }
  const auto print_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t own = width(row[i]);
      const std::string blanks(widths[i] > own ? widths[i] - own : 0, ' ');
      line += i == 0 ? "" : "  ";
      line += table.columns[i].number ? blanks + row[i] : row[i] + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print_row(names);
  for (const auto& row : table.rows)
    print_row(row);
}

}  // namespace tollgate::ctl
