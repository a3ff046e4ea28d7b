tollgate_fuzz(coding SOURCES coding.cc LINK codec)
