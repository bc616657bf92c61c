package kubeproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// scene is a node on which a kube-proxy runs until some time, and what TakeOver does there.
type scene struct {
	start       time.Time
	runsUntil   time.Duration
	silent      bool // it listens on other ports than usual
	connections int  // how many calls of retire it takes until they have ended
	fail        int  // how many calls of retire fail
	foreign     bool

	stands  bool
	retired []time.Duration
	events  []string
}

func (s *scene) now() time.Duration { return time.Since(s.start) }
func (s *scene) runs() bool         { return s.now() < s.runsUntil }

func (s *scene) listening() (uint16, error) {
	if s.runs() && !s.silent {
		return 10256, nil
	}
	return 0, nil
}

func (s *scene) standing(context.Context) (bool, error) {
	s.stands = s.stands || s.runs()
	return s.stands, nil
}

func (s *scene) retire(context.Context) (int, error) {
	s.retired = append(s.retired, s.now())
	var failed []error
	if s.foreign {
		failed = append(failed, fmt.Errorf("a chain stays: %w", ErrForeign))
	}
	if s.fail > 0 {
		s.fail--
		failed = append(failed, errors.New("locked"))
	}
	if len(failed) > 0 {
		return 0, errors.Join(errors.Join(failed...), nil) // in each other, as Retire has them
	}
	if s.connections > 0 {
		s.connections--
		return 1, nil
	}
	s.stands = false
	return 0, nil
}

func TestTakeOver(t *testing.T) {
	for _, test := range []struct {
		name    string
		scene   scene
		retired []time.Duration
		events  string
	}{
		{"nothing is removed where nothing is left", scene{}, nil, ""},
		{"a stopped one's state goes after a while", scene{stands: true}, []time.Duration{quiet}, "Took over: removed"},
		{"a running one's stays", scene{runsUntil: 24 * time.Hour}, nil, "still runs"},
		{"until it stops", scene{runsUntil: 59 * time.Second}, []time.Duration{60*time.Second + quiet}, "still runs, Took over: removed"},
		{"its virtual servers stay until their connections have ended", scene{stands: true, connections: 2},
			[]time.Duration{quiet, quiet + look, quiet + 3*look}, "Took over: draining, Took over: removed"},
		{"an error is tried again", scene{stands: true, fail: 1}, []time.Duration{quiet, quiet + retry}, "Took over: removed"},
		{"what another's rule needs stays for good", scene{stands: true, foreign: true}, []time.Duration{quiet}, ""},
		{"but what fails beside it is tried again", scene{stands: true, foreign: true, fail: 1}, []time.Duration{quiet, quiet + retry}, ""},
		{"one that brings its state back is left alone for longer and longer", scene{runsUntil: 4 * time.Minute, silent: true},
			[]time.Duration{quiet, 2*quiet + 2*comeback, 3*quiet + 5*comeback}, "Took over: removed, back, Took over: removed, back, Took over: removed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &test.scene
				s.start = time.Now()
				takeOver := NewTakeOver(Options{Family: service.IPv4, Event: func(_, message string) { s.events = append(s.events, message) }})
				takeOver.node = node{s.listening, s.standing, s.retire}
				ctx, stop := context.WithCancel(t.Context())
				for range 2 {
					if err := takeOver.Synced(ctx, nil, nil, nil); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(20 * time.Minute)
				stop()
				synctest.Wait()
				if !slices.Equal(s.retired, test.retired) {
					t.Errorf("removed at %v, want %v", s.retired, test.retired)
				}
				if got := s.summary(); got != test.events {
					t.Errorf("said %q, want %q", got, test.events)
				}
			})
		})
	}
}

func (s *scene) summary() string {
	var list []string
	for _, e := range s.events {
		switch {
		case strings.Contains(e, "still runs beside"):
			list = append(list, "still runs")
		case strings.Contains(e, "brought back"):
			list = append(list, "back")
		case strings.Contains(e, "until their last connection"):
			list = append(list, "Took over: draining")
		case strings.Contains(e, "is removed"):
			list = append(list, "Took over: removed")
		}
	}
	return strings.Join(list, ", ")
}
