tollgate_fuzz(chat_scanner SOURCES chat_scanner.cc LINK codec)
