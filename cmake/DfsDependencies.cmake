# Debian's packages, each as one imported target named dfs_dep_<name>.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(GTest REQUIRED)

pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET rocksdb)
pkg_check_modules(THRIFT REQUIRED IMPORTED_TARGET thrift)
pkg_check_modules(SPDLOG REQUIRED spdlog)
find_library(SPDLOG_LIBRARY spdlog REQUIRED)
find_program(THRIFT_COMPILER thrift REQUIRED)

add_library(dfs_dep_spdlog INTERFACE)
target_compile_definitions(dfs_dep_spdlog INTERFACE SPDLOG_COMPILED_LIB SPDLOG_SHARED_LIB)
target_link_libraries(dfs_dep_spdlog INTERFACE ${SPDLOG_LIBRARY} fmt::fmt)
