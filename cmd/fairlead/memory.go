package main

import (
	"os"
	"runtime/debug"
)

// collectEarlier starts a garbage collection when the heap has grown by half; Go's default is when it has doubled. With 10,000 Services
// of 10 endpoints, the start needs a fifth less memory and 7 % more processor time; later there is little garbage. GOGC in the
// environment overrides it.
func collectEarlier() {
	const percent = 50
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
