package traffic

import (
	"errors"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

func TestAnAnswerAfterLostSYNsIsAFailure(t *testing.T) {
	for _, lost := range []bool{false, true} {
		var l ledger
		s := source{kind: New, network: "tcp"}
		l.expect(s)
		l.asked(s, lab.Answer{Resent: 2, Lost: lost}, nil)
		r := l.report(Options{})
		if r.Failures() > 0 != lost || r.Answered != 1 || r.Resent != 2 {
			t.Errorf("lost: %t, got %+v", lost, r)
		}
		if lost && !errors.Is(r.First[0].Err, ErrLost) {
			t.Errorf("unexpected: %v", r.First[0])
		}
	}
}
