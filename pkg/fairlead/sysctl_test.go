package fairlead

import (
	"context"
	"testing"
)

func TestSysctlsOfAModuleThatIsLoadedLateAreAppliedOnce(t *testing.T) {
	tests := []struct {
		name    string
		atStart bool
		present []bool // at each sync
		want    int
	}{
		{"loaded at start", true, []bool{true, true}, 0},
		{"loaded by the first sync", false, []bool{true, true, true}, 1},
		{"loaded later", false, []bool{false, false, true, true}, 1},
		{"never loaded", false, []bool{false, false}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			applied, present := 0, false
			s := &lateSysctls{present: func() bool { return present }, apply: func(context.Context) { applied++ }, done: test.atStart}
			for _, present = range test.present {
				if err := s.Synced(t.Context(), nil, nil, nil); err != nil {
					t.Error(err)
				}
			}
			if applied != test.want {
				t.Errorf("applied %d times, want %d", applied, test.want)
			}
		})
	}
}
