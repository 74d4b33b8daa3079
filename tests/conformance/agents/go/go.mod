module github.com/hostlane/hostlane/tests/conformance/agents/go

go 1.24

require github.com/hostlane/hostlane/go v0.1.0

replace github.com/hostlane/hostlane/go => ../../../../go
