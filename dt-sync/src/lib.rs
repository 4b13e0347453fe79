//! What a participant runs: the client over ledger and DHT, and the device agent between twin and asset.
