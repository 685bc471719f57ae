# What is installed: headers, libdfs.so.1, libdfs.a, find_package(dfs), pkg-config, the programs.
# Components: lib, dev, client, server.
# Included after all targets are known.
include(GNUInstallDirs)

# Everything of ours that libdfs is made of, as static archives.
set(dfs_client_parts dfs_client dfs_wire dfs_rpc dfs_auth dfs_idl dfs_idl_gen dfs_base)
set(dfs_client_part_files "")
foreach(part ${dfs_client_parts})
  list(APPEND dfs_client_part_files $<TARGET_FILE:${part}>)
endforeach()
# Debian's libraries that it needs besides.
set(dfs_client_needs PkgConfig::THRIFT PkgConfig::XXHASH OpenSSL::Crypto fmt::fmt dfs_dep_spdlog
    Threads::Threads)

# libdfs.so: libthrift's shared library, as its static one is not position independent.
file(WRITE ${CMAKE_BINARY_DIR}/libdfs/empty.cc "")
add_library(dfs_shared SHARED ${CMAKE_BINARY_DIR}/libdfs/empty.cc)
set_target_properties(dfs_shared PROPERTIES
  OUTPUT_NAME dfs VERSION ${PROJECT_VERSION} SOVERSION 1
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/libdfs
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/libdfs.map)
target_link_libraries(dfs_shared PRIVATE
  -Wl,--whole-archive $<TARGET_FILE:dfs_client> -Wl,--no-whole-archive
  dfs_wire dfs_rpc dfs_auth dfs_idl dfs_base ${dfs_client_needs}
  -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/libdfs.map -Wl,--as-needed)
add_dependencies(dfs_shared dfs_client)

# libdfs.a: one archive, so that a program links one thing.
set(dfs_archive ${CMAKE_BINARY_DIR}/libdfs/libdfs.a)
set(dfs_archive_script "create ${dfs_archive}\n")
foreach(part ${dfs_client_parts})
  string(APPEND dfs_archive_script "addlib $<TARGET_FILE:${part}>\n")
endforeach()
string(APPEND dfs_archive_script "save\nend\n")
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/libdfs/libdfs.mri CONTENT "${dfs_archive_script}")
add_custom_command(
  OUTPUT ${dfs_archive}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${dfs_archive}
  COMMAND ${CMAKE_AR} -M < ${CMAKE_BINARY_DIR}/libdfs/libdfs.mri
  DEPENDS ${dfs_client_parts} ${dfs_client_part_files} ${CMAKE_BINARY_DIR}/libdfs/libdfs.mri
  VERBATIM)
add_custom_target(dfs_static_archive ALL DEPENDS ${dfs_archive})

configure_file(${CMAKE_SOURCE_DIR}/cmake/dfsConfig.cmake.in
               ${CMAKE_BINARY_DIR}/libdfs/dfsConfig.cmake @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/libdfs/dfsConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMajorVersion)
configure_file(${CMAKE_SOURCE_DIR}/cmake/dfs.pc.in ${CMAKE_BINARY_DIR}/libdfs/dfs.pc @ONLY)

install(TARGETS dfs_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT lib
        NAMELINK_COMPONENT dev)
install(FILES ${dfs_archive} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
install(FILES common/client/include/dfs/client.h common/client/include/dfs/types.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dfs COMPONENT dev)
install(FILES common/base/status.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dfs COMPONENT dev)
install(FILES ${CMAKE_BINARY_DIR}/libdfs/dfsConfig.cmake
              ${CMAKE_BINARY_DIR}/libdfs/dfsConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dfs COMPONENT dev)
install(FILES ${CMAKE_BINARY_DIR}/libdfs/dfs.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
install(TARGETS dfs RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT client)
install(TARGETS dfs-namenode dfs-datanode RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        COMPONENT server)
if(TARGET dfs-fuse)
  install(TARGETS dfs-fuse RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT client)
  # Where mount(8) looks for them; /sbin is /usr/sbin on every Debian since 12.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/packaging-links)
  foreach(helper mount.dfs mount.fuse.dfs)
    file(CREATE_LINK ../bin/dfs-fuse ${CMAKE_BINARY_DIR}/packaging-links/${helper} SYMBOLIC)
    install(FILES ${CMAKE_BINARY_DIR}/packaging-links/${helper}
            DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT client)
  endforeach()
endif()
