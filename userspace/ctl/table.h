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
  std::vector<std::vector<std::string>> rows;  // cells are printable already
};

void print(std::ostream& out, const Table& table);

}  // namespace tollgate::ctl
