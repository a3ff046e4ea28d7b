tollgate_fuzz(config SOURCES config.cc LINK policy)
tollgate_fuzz(prices SOURCES prices.cc LINK policy)
