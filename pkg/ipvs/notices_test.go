package ipvs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// reserved gives web an address at which nobody is served.
func reserved(s *stage, n int) {
	svc := s.plain("web", "80")
	ip := fmt.Sprintf("240.0.%d.%d", n/250, 1+n%250)
	if s.family == service.IPv6 {
		ip = fmt.Sprintf("100:464c::%x", 1+n)
	}
	svc.Spec.ExternalIPs = []string{ip}
	s.builder.SetService(svc)
}

func TestNoticesOfOneServiceAreFew(t *testing.T) {
	forBoth(t, func(s *stage) {
		for n := range 200 {
			reserved(s, n)
			s.sync()
		}
		if n := len(s.events); n != mostNotices+1 || !strings.Contains(s.events[mostNotices], "more than 20 different problems") {
			t.Errorf("%d events, the last one %q", n, s.events[len(s.events)-1])
		}
		if n := len(s.backend.said); n > 0 {
			t.Errorf("%d log messages are kept", n)
		}
		deleteService("web")(s)
		s.sync()
		if n := len(s.backend.notices); n != 0 {
			t.Errorf("messages of %d Services are kept when all are gone", n)
		}
	})
}

func TestANoticeIsRepeatedOnlyAfterItsServiceWasGone(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     func(s *stage)
		events int
	}{
		{"not after a full sync", (*stage).resync, 1},
		{"not after a failed sync", func(s *stage) {
			s.kernel.noIPVS = ErrNoIPVS
			_ = s.resyncError()
			s.kernel.noIPVS = nil
			s.resync()
		}, 1},
		{"not when another key of the Service comes and goes", func(s *stage) {
			for range 5 {
				s.service("web", []string{"80", "b:81"}, external(s, "ext"), annotated(service.AnnotationScheduler, "mh"))
				s.sync()
				s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
				s.sync()
			}
		}, 1},
		{"after it was gone", func(s *stage) {
			deleteService("web")(s)
			s.sync()
			s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
			s.sync()
		}, 2},
		{"after it was gone, which a full sync found", func(s *stage) {
			deleteService("web")(s)
			s.resync()
			s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
			s.sync()
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.lacking = []string{"mh"}
				serveWeb(s)
				s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
				s.sync()
				test.do(s)
				if len(s.events) != test.events {
					t.Errorf("events: %q", s.events)
				}
			})
		})
	}
}
