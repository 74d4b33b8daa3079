module github.com/hostlane/hostlane/go

go 1.24
