package ipvs

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// mostNotices is how many different messages one Service causes, so that one that is edited all the time fills neither memory nor logs.
const mostNotices = 20

// notices are the messages that each Service has caused. They are forgotten when the Service is gone.
type notices map[types.NamespacedName]map[string]struct{}

// add returns what to say, if anything: each message once, and in place of the first one that is too many, that there are more.
func (n notices) add(name types.NamespacedName, message string) (text string, ok bool) {
	sent := n[name]
	if _, again := sent[message]; again || len(sent) > mostNotices {
		return "", false
	}
	if sent == nil {
		sent = map[string]struct{}{}
		n[name] = sent
	}
	if len(sent) == mostNotices {
		message = fmt.Sprintf("there are more than %d different problems; further ones are not reported until the Service is deleted", mostNotices)
	}
	sent[message] = struct{}{}
	return message, true
}

// forget drops the messages of some Services that are not in a Table any more.
func (n notices) forget(table *service.Table, services map[types.NamespacedName]struct{}) {
	for name := range services {
		if len(n[name]) > 0 && len(portsOf(table, name)) == 0 {
			delete(n, name)
		}
	}
}

// tell says to the owner of a Service what is wrong.
func (b *Backend) tell(ctx context.Context, name types.NamespacedName, reason, message string) {
	message, ok := b.notices.add(name, message)
	if !ok {
		return
	}
	klog.FromContext(ctx).Info("Cannot serve a Service as it asks", "service", name, "problem", message)
	if b.options.Events != nil {
		b.options.Events(name, reason, message)
	}
}
