//! An editable AutomationML (CAEX 2.15 and 3.0) document that parses, queries, edits by ID, hashes by subtree and writes back the bytes it was given.
