"""The same engine on Spark, for a bank that outgrows one machine. Only this room imports pyspark."""
