package differential

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/pkg/service"
)

// trial is a case in one family.
type trial struct {
	cases.Case
	family service.Family
	// objects are in the API server.
	objects []cases.Object
	// refused is why the API server did not take an object, from which step on the case cannot be asked.
	refused error
}

func (tr *trial) String() string { return fmt.Sprintf("%q, %s", tr.Name, tr.family) }

func trialsOf(list []cases.Case) (all []*trial) {
	for _, c := range list {
		for _, family := range c.Families() {
			all = append(all, &trial{Case: c, family: family})
		}
	}
	return all
}

// take brings the objects of a trial to those of a step. What has changed is deleted and made anew: the API server does not
// allow every change, and keeps some of what was there before.
func (tr *trial) take(ctx context.Context, c *cluster, step int) error {
	want, err := tr.Objects(tr.family, step)
	if err != nil {
		return err
	}
	var kept []cases.Object
	for _, old := range tr.objects {
		if holds(want, old) {
			kept = append(kept, old)
		} else if err := c.remove(ctx, old); err != nil {
			return fmt.Errorf("delete %s: %w", old.GetName(), err)
		}
	}
	tr.objects = kept
	tr.refused = tr.add(ctx, c, want)
	return nil
}

// add makes the objects that are not there yet, the older ones first: nobody can set when an object was created.
func (tr *trial) add(ctx context.Context, c *cluster, want []cases.Object) error {
	slices.SortStableFunc(want, func(a, b cases.Object) int {
		return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time)
	})
	for _, o := range want {
		if holds(tr.objects, o) {
			continue
		}
		if err := c.create(ctx, o); err != nil {
			return err
		}
		tr.objects = append(tr.objects, o)
	}
	return nil
}

func holds(list []cases.Object, object cases.Object) bool {
	return slices.ContainsFunc(list, func(o cases.Object) bool { return equality.Semantic.DeepEqual(o, object) })
}

// atOnce does something with each of a list, with some of them at a time.
func atOnce[T any](list []T, do func(T)) {
	var running sync.WaitGroup
	turns := make(chan struct{}, 8)
	for _, one := range list {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			do(one)
		})
	}
	running.Wait()
}
