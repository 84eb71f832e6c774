module bundle.build/tests/pause

go 1.24.0
