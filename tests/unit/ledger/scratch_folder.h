// A folder that lives as long as the test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "userspace/base/result.h"

namespace tollgate::ledger {

class ScratchFolder {
 public:
  ScratchFolder() : path_((std::filesystem::temp_directory_path() / "ledger-XXXXXX").string()) {
    TG_ASSERT(::mkdtemp(path_.data()) != nullptr);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace tollgate::ledger
