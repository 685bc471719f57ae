# Debian packages by CPack: libdfs1, libdfs-dev, dfs-client, dfs-server. `cpack` in the build directory puts them into
# packages/. What is installed with them besides programs is in cmake/packaging and docs/man.
set(packaging ${CMAKE_SOURCE_DIR}/cmake/packaging)
set(unit_directory lib/systemd/system)

install(FILES ${packaging}/dfs-namenode.service ${packaging}/dfs-datanode.service
        DESTINATION ${unit_directory} COMPONENT server)
install(FILES ${packaging}/sysusers.conf DESTINATION lib/sysusers.d RENAME dfs.conf COMPONENT server)
install(FILES ${packaging}/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME dfs.conf COMPONENT server)
foreach(daemon namenode datanode)
  set(sample ${CMAKE_BINARY_DIR}/packaging/${daemon}.toml)
  add_custom_command(OUTPUT ${sample}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/packaging
    COMMAND dfs-${daemon} --sample-config > ${sample}
    DEPENDS dfs-${daemon} VERBATIM)
  list(APPEND samples ${sample})
endforeach()
add_custom_target(dfs_samples ALL DEPENDS ${samples})
install(FILES ${samples} DESTINATION share/doc/dfs-server/examples COMPONENT server)

install(FILES tools/completion/dfs.bash DESTINATION share/bash-completion/completions RENAME dfs
        COMPONENT client)
install(FILES tools/completion/dfs.zsh DESTINATION share/zsh/vendor-completions RENAME _dfs
        COMPONENT client)
install(FILES tools/completion/dfs.fish DESTINATION share/fish/vendor_completions.d COMPONENT client)

# Manual pages need scdoc; without it there are none.
find_program(DFS_SCDOC scdoc)
if(DFS_SCDOC)
  foreach(page dfs.1 dfs-namenode.8 dfs-datanode.8 mount.dfs.8)
    string(REGEX REPLACE ".*\\." "" section ${page})
    set(output ${CMAKE_BINARY_DIR}/man/${page})
    add_custom_command(OUTPUT ${output}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
      COMMAND ${DFS_SCDOC} < ${CMAKE_SOURCE_DIR}/docs/man/${page}.scd > ${output}
      DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/${page}.scd VERBATIM)
    list(APPEND man_pages ${output})
    set(component client)
    if(page MATCHES "^dfs-(name|data)node")
      set(component server)
    endif()
    install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
  endforeach()
  add_custom_target(dfs_man ALL DEPENDS ${man_pages})
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dfs)
set(CPACK_PACKAGE_VENDOR "dfs")
set(CPACK_PACKAGE_CONTACT "The dfs authors <dfs@localhost>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_OUTPUT_FILE_PREFIX ${CMAKE_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL lib dev client server)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_LIB_PACKAGE_NAME libdfs1)
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIB_DESCRIPTION "Client library of the dfs file system")
set(CPACK_DEBIAN_LIB_PACKAGE_CONTROL_EXTRA ${packaging}/lib.triggers)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libdfs-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libdfs1 (= ${PROJECT_VERSION}), libthrift-dev, libxxhash-dev, libssl-dev, libfmt-dev, libspdlog-dev")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Headers and static library for programs that use dfs")
set(CPACK_DEBIAN_CLIENT_PACKAGE_NAME dfs-client)
set(CPACK_DEBIAN_CLIENT_PACKAGE_RECOMMENDS fuse3)
set(CPACK_COMPONENT_CLIENT_DESCRIPTION "Command line and mount of the dfs file system")
set(CPACK_DEBIAN_SERVER_PACKAGE_NAME dfs-server)
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "passwd")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS dfs-client)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "Namenode and datanode of the dfs file system")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
    "${CMAKE_BINARY_DIR}/packaging/postinst;${CMAKE_BINARY_DIR}/packaging/prerm;${CMAKE_BINARY_DIR}/packaging/postrm")
foreach(script postinst prerm postrm)
  configure_file(${packaging}/server.${script} ${CMAKE_BINARY_DIR}/packaging/${script} COPYONLY)
endforeach()
configure_file(${packaging}/lib.triggers ${CMAKE_BINARY_DIR}/packaging/triggers COPYONLY)
set(CPACK_DEBIAN_LIB_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/packaging/triggers)
include(CPack)
