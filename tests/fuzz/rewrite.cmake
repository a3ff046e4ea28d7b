tollgate_fuzz(rewrite SOURCES rewrite.cc LINK codec)
