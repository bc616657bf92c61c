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

// run is when a kube-proxy runs.
type run struct{ from, to time.Duration }

// scene is a node on which a kube-proxy runs at times, and what TakeOver does there.
type scene struct {
	start       time.Time
	run         []run
	silent      bool // it does not listen on its ports
	connections int  // how many calls of retire it takes until they have ended
	fail        int  // how many calls of retire fail
	foreign     bool

	stands  bool
	writes  int           // how often it has written
	written time.Duration // until when
	looked  int           // how often the rules have been read
	retired []time.Duration
	events  []string
}

func (s *scene) now() time.Duration { return time.Since(s.start) }
func (s *scene) runs() bool {
	return slices.ContainsFunc(s.run, func(r run) bool { return s.now() >= r.from && s.now() < r.to })
}

// write lets a running kube-proxy bring back what is gone, at most every 30 seconds.
func (s *scene) write() {
	if s.runs() && !s.stands && (s.writes == 0 || s.now() >= s.written+30*time.Second) {
		s.stands, s.written = true, s.now()
		s.writes++
	}
}

func (s *scene) traces() (traces, error) {
	s.write()
	if !s.stands {
		return traces{}, nil
	}
	return traces{chains: "KUBE-SERVICES in nat"}, nil
}

func (s *scene) listening() (uint16, error) {
	if s.runs() && !s.silent {
		return 10256, nil
	}
	return 0, nil
}

func (s *scene) standing(context.Context) (bool, error) {
	s.write()
	s.looked++
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
	always, minute, second := 24*time.Hour, time.Minute, time.Second
	for _, test := range []struct {
		name    string
		scene   scene
		retired []time.Duration
		events  string
	}{
		{"nothing is removed where nothing is left", scene{}, nil, ""},
		{"a stopped one's state goes after a while", scene{stands: true}, []time.Duration{quiet}, "Took over: removed"},
		{"a running one's stays", scene{run: []run{{0, always}}}, nil, "still runs"},
		{"until it stops", scene{run: []run{{0, 59 * second}}}, []time.Duration{60*second + quiet}, "still runs, Took over: removed"},
		{"its virtual servers stay until their connections have ended", scene{stands: true, connections: 2},
			[]time.Duration{quiet, quiet + look, quiet + 3*look}, "Took over: draining, Took over: removed"},
		{"an error is tried again", scene{stands: true, fail: 1}, []time.Duration{quiet, quiet + retry}, "Took over: removed"},
		{"what another's rule needs stays for good", scene{stands: true, foreign: true}, []time.Duration{quiet}, ""},
		{"but what fails beside it is tried again", scene{stands: true, foreign: true, fail: 1}, []time.Duration{quiet, quiet + retry}, ""},
		{"one that is started later is named, left alone while it runs, and its state removed when it has stopped", scene{run: []run{{minute, 9 * minute}}},
			[]time.Duration{9*minute + quiet}, "started, still runs, Took over: removed"},
		{"one that comes after a take-over too", scene{stands: true, run: []run{{5 * minute, 6 * minute}}},
			[]time.Duration{quiet, 6*minute + quiet}, "Took over: removed, started, still runs, Took over: removed"},
		{"one that crashes again and again delays nothing", scene{run: []run{{minute, 2 * minute}, {3 * minute, 4 * minute}, {5 * minute, 6 * minute}, {7 * minute, 8 * minute}}},
			[]time.Duration{2*minute + quiet, 4*minute + quiet, 6*minute + quiet, 8*minute + quiet},
			"started, still runs, Took over: removed, started, still runs, Took over: removed, started, still runs, Took over: removed, started, still runs, Took over: removed"},
		{"one that does not listen is left alone for longer and longer", scene{run: []run{{0, 4 * minute}}, silent: true},
			[]time.Duration{4 * second, 108 * second, 252 * second}, "Took over: removed, started, Took over: removed, started, Took over: removed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &test.scene
				s.start = time.Now()
				takeOver := NewTakeOver(Options{Family: service.IPv4, Event: func(_, message string) { s.events = append(s.events, message) }})
				takeOver.node = node{s.listening, s.standing, s.traces, s.retire}
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
				if quiet := len(s.run) == 0 && len(s.retired) == 0; quiet && s.looked != 1 {
					t.Errorf("all rules of a quiet node were read %d times", s.looked)
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
		case strings.Contains(e, "has been started beside"):
			list = append(list, "started")
		case strings.Contains(e, "until their last connection"):
			list = append(list, "Took over: draining")
		case strings.Contains(e, "is removed"):
			list = append(list, "Took over: removed")
		}
	}
	return strings.Join(list, ", ")
}
