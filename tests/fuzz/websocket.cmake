tollgate_fuzz(websocket SOURCES websocket.cc LINK codec)
