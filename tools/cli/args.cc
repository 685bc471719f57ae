#include "tools/cli/args.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "tools/cli/text.h"

namespace dfs::cli {

struct Args::Impl {
  Impl(const std::string& verb, const std::string& summary)
      : name(verb), app(summary, "dfs " + verb) {}
  std::string name;
  bool takes_h = false;
  CLI::App app;
};

Args::Args(const std::string& name, const std::string& summary, const std::string& examples)
    : impl_(std::make_unique<Impl>(name, summary)) {
  impl_->app.set_help_flag("--help", "Show this help");
  if (!examples.empty()) impl_->app.footer("Examples:\n" + examples);
}

Args::~Args() = default;

void Args::Flag(const std::string& names, bool* value, const std::string& help) {
  if (names == "-h" || names.rfind("-h,", 0) == 0) impl_->takes_h = true;
  impl_->app.add_flag(names, *value, help);
}

void Args::Option(const std::string& names, std::string* value, const std::string& help) {
  impl_->app.add_option(names, *value, help)->type_name("TEXT");
}

void Args::Option(const std::string& names, int64_t* value, const std::string& help, int64_t low,
                  int64_t high) {
  impl_->app.add_option(names, *value, help)->check(CLI::Range(low, high))->type_name("N");
}

void Args::Options(const std::string& names, std::vector<std::string>* values,
                   const std::string& help) {
  impl_->app.add_option(names, *values, help)
      ->type_size(1)
      ->expected(1, 1 << 20)
      ->allow_extra_args(false);
}

void Args::Size(const std::string& names, uint64_t* value, const std::string& help) {
  impl_->app
      .add_option_function<std::string>(
          names,
          [value, names](const std::string& text) {
            if (!ParseSize(text, value)) {
              throw CLI::ValidationError(names, "'" + text + "' is not a size such as 64K or 1.5G");
            }
          },
          help)
      ->type_name("SIZE");
}

void Args::Positional(const std::string& name, std::string* value, const std::string& help,
                      bool required) {
  impl_->app.add_option(name, *value, help)->required(required)->type_name("");
}

void Args::Positionals(const std::string& name, std::vector<std::string>* values,
                       const std::string& help, size_t at_least) {
  auto* option = impl_->app.add_option(name, *values, help)->type_name("");
  if (at_least > 0) option->required()->expected(static_cast<int>(at_least), 1 << 20);
}

std::optional<int> Args::Parse(const std::vector<std::string>& arguments) {
  if (!impl_->takes_h) impl_->app.set_help_flag("-h,--help", "Show this help");
  // CLI11 takes the arguments last first.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    impl_->app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    std::fputs(impl_->app.help().c_str(), stdout);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return UsageError(error.what());
  }
  return std::nullopt;
}

int Args::UsageError(const std::string& message) const {
  std::fprintf(stderr, "dfs %s: %s\nTry: dfs %s --help\n", impl_->name.c_str(), message.c_str(),
               impl_->name.c_str());
  return kExitUsage;
}

}  // namespace dfs::cli
