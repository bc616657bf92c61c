//go:build ipvs && soak

package ipvs

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// The sizes are those of a big cluster; the times are in the log.
func TestKernelHoldsMany(t *testing.T) {
	inNamespace(t)
	const f = service.IPv4
	timed := func(doing string, do func()) {
		start := time.Now()
		do()
		t.Logf("%s: %s", doing, time.Since(start).Round(time.Millisecond))
	}
	k, s, many := newSets(f), ipset{"FL-TEST", ofFrontends}, manyFrontends(f, 5000)
	must(t, k.Create(s))
	timed("add 5,000 set entries", func() { must(t, k.Add(s, many...)) })
	timed("list 5,000 set entries", func() {
		if list, err := k.List(s); err != nil || len(list) != len(many) {
			t.Errorf("got %d entries, %v", len(list), err)
		}
	})
	r := newRoutes(f, 1<<16)
	timed("add 5,000 routes", func() {
		for _, e := range many {
			must(t, r.Add(e.key.address.Addr()))
		}
	})
	timed("list 5,000 routes", func() {
		if list, err := r.List(); err != nil || len(list) != len(many) {
			t.Errorf("got %d routes, %v", len(list), err)
		}
	})
	v := newServersIn(t, f)
	timed("add 1,000 virtual servers with 10 real servers", func() {
		for _, e := range many[:1000] {
			must(t, v.Add(virtualServer{e.key, "rr", testMark, 0}))
			for _, to := range many[:10] {
				must(t, v.AddReal(e.key, realServer{address: to.key.address, weight: 1}))
			}
		}
	})
	timed("list 1,000 virtual servers with 10 real servers", func() {
		list, err := v.List()
		if err != nil || len(list) != 1000 {
			t.Errorf("got %d virtual servers, %v", len(list), err)
		}
		for _, s := range list {
			if found, err := v.ListReal(s.key); err != nil || len(found) != 10 {
				t.Errorf("%s: got %d real servers, %v", s.key, len(found), err)
			}
		}
	})
}
