tollgate_fuzz(admin SOURCES admin.cc LINK admin_protocol base)
