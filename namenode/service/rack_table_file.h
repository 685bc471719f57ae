// RackTableFile: the file of a RackTable, looked at again from time to time. Confined to its executor, which it keeps
// from other work while it reads.
#pragma once

#include <functional>
#include <string>

#include "common/base/env.h"
#include "common/base/executor.h"
#include "namenode/blocks/rack_table.h"

namespace dfs::nn {

class RackTableFile {
 public:
  /// use is given the table at first and whenever it has changed.
  RackTableFile(Env& env, Executor& executor, std::string path, std::function<void(RackTable)> use)
      : env_(env), executor_(executor), path_(std::move(path)), use_(std::move(use)) {}
  ~RackTableFile() { Stop(); }

  /// Reads it for the first time; without a path there is nothing to do. An error names the file.
  Status Start();
  /// Now. What cannot be read or is wrong leaves the table as it was, and is logged, once.
  void Reload();
  void Stop();

 private:
  Status Load();
  void Schedule();

  Env& env_;
  Executor& executor_;
  const std::string path_;
  const std::function<void(RackTable)> use_;
  std::string text_;        // of the table in use
  std::string last_error_;
  Executor::TimerId timer_ = 0;
};

}  // namespace dfs::nn
