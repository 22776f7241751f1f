"""The paper trail: a record of every result, in the store's own words, as PREMIS 3, and in BagIt bags."""
