package ipvs

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestErrorsOfVirtualServersAreSaidInOurTerms(t *testing.T) {
	s := virtualServer{key: keyOf(service.IPv4, service.UDP, 10, 53), scheduler: "mh"}
	tests := map[string]struct {
		err, want error
		text      string
	}{
		"success":           {nil, nil, "<nil>"},
		"one that is there": {unix.EEXIST, errExists, "add virtual server 10.0.0.10,udp:53: is there already"},
		"one that is not":   {unix.ESRCH, errNotFound, "add virtual server 10.0.0.10,udp:53: is not there"},
		"no such scheduler": {unix.ENOENT, errNoScheduler, "add virtual server 10.0.0.10,udp:53: the kernel has no such scheduler: mh; load the module ip_vs_mh"},
		"anything else":     {unix.EPERM, unix.EPERM, "add virtual server 10.0.0.10,udp:53: operation not permitted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := serverError("add", s, test.err); !errors.Is(err, test.want) || fmt.Sprint(err) != test.text {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestErrorsOfRealServersAreSaidInOurTerms(t *testing.T) {
	at, to := keyOf(service.IPv6, service.TCP, 10, 80), keyOf(service.IPv6, service.TCP, 20, 8080).address
	tests := map[string]struct {
		err, want error
		text      string
	}{
		"success":                   {nil, nil, "<nil>"},
		"one that is there":         {unix.EEXIST, errExists, "add real server [fd00::14]:8080 of fd00::a,tcp:80: is there already"},
		"one that is not":           {unix.ENOENT, errNotFound, "add real server [fd00::14]:8080 of fd00::a,tcp:80: is not there"},
		"one of no virtual server":  {unix.ESRCH, errNotFound, "add real server [fd00::14]:8080 of fd00::a,tcp:80: is not there"},
		"anything else that failed": {unix.ENOMEM, unix.ENOMEM, "add real server [fd00::14]:8080 of fd00::a,tcp:80: cannot allocate memory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := realError("add", at, to, test.err); !errors.Is(err, test.want) || fmt.Sprint(err) != test.text {
				t.Errorf("got %v", err)
			}
		})
	}
}
