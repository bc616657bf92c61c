package site

import (
	"io"
	"testing"
)

func TestCountErrors(t *testing.T) {
	var log Log
	_, err := io.WriteString(&log, `before klog is set up: no
I1129 06:00:00.000000       1 a.go:1] "Event" message="no"
E1129 06:00:00.000001       1 a.go:2] "Failed" err="no"
E1129 06:00:00.000002       1 a.go:3] "Failed" err=<
	no, no
	and no
 >
E1129 06:00:00.000003       1 a.go:4] "Failed" err="yes"
W1129 06:00:00.000004       1 a.go:5] no
`)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"no": 2, "yes": 1, "Event": 0, "none": 0} {
		if got := log.CountErrors(text); got != want {
			t.Errorf("%q is in %d errors, want %d", text, got, want)
		}
	}
}
