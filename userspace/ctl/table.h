// Plain ASCII columns: two spaces between, numbers to the right, no trailing blanks.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace tollgate::ctl {

struct Column {
  std::string name;
  bool number = false;
};

struct Table {
  std::vector<Column> columns;
  // Cells are printable already. A row of one cell is a line by itself and widens no column.
  std::vector<std::vector<std::string>> rows;
};

void print(std::ostream& out, const Table& table);

}  // namespace tollgate::ctl
