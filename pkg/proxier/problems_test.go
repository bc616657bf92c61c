package proxier

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/klog/v2/ktesting"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestOnlyTheFirstProblemsAreLogged(t *testing.T) {
	tests := []struct {
		name             string
		objects, of      int // problems of each
		lines            int
		remaining, count string
	}{
		{"none", 0, 0, 0, "", ""},
		{"as many as are logged", 50, 1, 50, "", ""},
		{"one more", 51, 1, 51, "objects=1", "problems=1"},
		{"very many, two of each object", 1000, 2, 51, "objects=975", "problems=1950"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var problems []service.Problem
			for i := range test.objects {
				for n := range test.of {
					problems = append(problems, service.Problem{Object: fmt.Sprint("Service default/", i), What: fmt.Sprint(n)})
				}
			}
			logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
			logProblems(logger, problems)
			sink := logger.GetSink().(ktesting.Underlier)
			if got := len(sink.GetBuffer().Data()); got != test.lines {
				t.Errorf("%d lines, want %d", got, test.lines)
			}
			for _, part := range []string{test.remaining, test.count} {
				if !strings.Contains(sink.GetBuffer().String(), part) {
					t.Errorf("the log does not say %q", part)
				}
			}
		})
	}
}
