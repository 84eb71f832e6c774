module bundle.build/tests/probe

go 1.24.0
