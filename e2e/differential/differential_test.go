package differential

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/e2e/cases"
)

// exam asks kube-proxy.
type exam struct {
	*cluster
	trials []*trial
	// agreed has the questions that kube-proxy answers as the table does.
	agreed map[string]bool
	// shown are the listed differences that have been met, in any family.
	shown map[difference]bool
}

func TestKubeProxyDoesWhatTheTableSays(t *testing.T) {
	list := cases.All()
	e := &exam{cluster: newCluster(t), trials: trialsOf(list), agreed: map[string]bool{}, shown: map[difference]bool{}}
	namespaces := []string{canaryNamespace}
	for _, tr := range e.trials {
		namespaces = append(namespaces, tr.Namespace(tr.family))
	}
	e.makeNamespaces(t, namespaces)
	// All cases are there at any time: those of other flags are in nobody's way.
	e.takeStep(t, e.trials, 0)
	for _, group := range cases.Groups(list) {
		t.Run(group.Flags.String(), func(t *testing.T) { e.tryGroup(t, group.Flags) })
	}
	checkRefusals(t, e.trials)
	e.checkDifferences(t)
	asked := 0
	for _, tr := range e.trials {
		if tr.refused == nil {
			asked++
		}
	}
	t.Logf("%d cases, %d of %d trials asked: kube-proxy agrees on %d questions, and differs as is listed on %d",
		len(list), asked, len(e.trials), len(e.agreed), len(e.shown))
}

// tryGroup tries the cases with the same flags on one kube-proxy.
func (e *exam) tryGroup(t *testing.T, flags cases.Flags) {
	e.setNode(t, flags)
	e.startKubeProxy(t, flags)
	for step := 0; ; step++ {
		ready := e.atStep(flags, step)
		if len(ready) == 0 {
			return
		}
		if step > 0 {
			e.takeStep(t, ready, step)
			ready = e.atStep(flags, step)
		}
		rules := e.synced(t, flags)
		for _, tr := range ready {
			e.askTrial(t, tr, step, rules[tr.family])
		}
		e.askAgain(t, flags, ready, step)
	}
}

// atStep lists the trials with these flags that have so many steps.
func (e *exam) atStep(flags cases.Flags, step int) (list []*trial) {
	for _, tr := range e.trials {
		if tr.Flags == flags && step < len(tr.Steps) && tr.refused == nil {
			list = append(list, tr)
		}
	}
	return list
}

func (e *exam) takeStep(t *testing.T, trials []*trial, step int) {
	t.Helper()
	atOnce(trials, func(tr *trial) {
		if err := tr.take(t.Context(), e.cluster, step); err != nil {
			t.Errorf("%s, step %d: %v", tr, step+1, err)
		}
	})
}

// askTrial asks the questions of a step.
func (e *exam) askTrial(t *testing.T, tr *trial, step int, r *rules) {
	t.Helper()
	probes, err := tr.Probes(tr.family, step)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(probes, later(probes)...) {
		got, err := r.answer(p)
		if err != nil {
			t.Errorf("%s, step %d, %s: %v", tr, step+1, p.Question.Packet, err)
			continue
		}
		e.judge(t, tr, step, p, got)
	}
}

// judge compares kube-proxy's answer with what the table wants, or with what is known of kube-proxy.
func (e *exam) judge(t *testing.T, tr *trial, step int, p cases.Probe, got chances) {
	t.Helper()
	want := wanted(p.Want)
	listed, differs := differenceOf(tr, step, p.Question.Packet)
	if differs {
		other, err := listed.probe(tr)
		if err != nil {
			t.Fatal(err)
		}
		if !listed.byChance || got.differ(want) != "" {
			want = wanted(other.Want)
			e.shown[listed] = true
		}
	}
	if diff := got.differ(want); diff != "" {
		t.Errorf("%s, step %d, %s, listed difference: %t (-want +kube-proxy):\n%s", tr, step+1, p.Question.Packet, differs, diff)
	} else if !differs {
		e.agreed[fmt.Sprint(tr, step, p.Question.Packet, p.Want.With)] = true
	}
}

// askAgain has kube-proxy write its rules again until every difference that comes by chance has come.
func (e *exam) askAgain(t *testing.T, flags cases.Flags, trials []*trial, step int) {
	t.Helper()
	const times = 20 // each with a chance of a half
	for range times {
		waiting := e.waiting(trials, step)
		if len(waiting) == 0 {
			return
		}
		rules := e.synced(t, flags)
		for _, tr := range waiting {
			e.askTrial(t, tr, step, rules[tr.family])
		}
	}
}

// waiting lists the trials with a difference by chance that has not come yet.
func (e *exam) waiting(trials []*trial, step int) (list []*trial) {
	for _, tr := range trials {
		for _, q := range tr.Steps[step].Ask {
			if d, ok := differenceOf(tr, step, q.Packet); ok && d.byChance && !e.shown[d] {
				list = append(list, tr)
				break
			}
		}
	}
	return list
}

// checkDifferences holds the list of differences, and what the table says of kube-proxy, against what was seen.
func (e *exam) checkDifferences(t *testing.T) {
	t.Helper()
	for _, d := range differences {
		if !e.shown[d] {
			t.Errorf("%q, step %d, %s is listed as different, and is not", d.name, d.step, d.packet)
		}
	}
	for _, tr := range e.trials {
		listed := slices.ContainsFunc(differences, func(d difference) bool { return d.name == tr.Name })
		if tr.Differs != "" && !listed && tr.refused == nil {
			t.Errorf("%s is said to differ (%s), and no question of it is listed", tr, tr.Differs)
		}
	}
}
