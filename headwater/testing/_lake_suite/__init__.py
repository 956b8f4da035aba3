"""Parts of the lake's conformance suite; `headwater.testing.lake_suite` puts them together."""
