package tracer

// matchKinds makes the matches by the name that follows -m.
var matchKinds = map[string]func() match{
	"tcp":       func() match { return &portMatch{proto: "tcp"} },
	"udp":       func() match { return &portMatch{proto: "udp"} },
	"sctp":      func() match { return &portMatch{proto: "sctp"} },
	"multiport": func() match { return &multiportMatch{} },
	"comment":   func() match { return &commentMatch{} },
	"mark":      func() match { return &markMatch{} },
	"conntrack": func() match { return &conntrackMatch{} },
	"state":     func() match { return &stateMatch{} },
	"addrtype":  func() match { return &addrtypeMatch{} },
	"statistic": func() match { return &statisticMatch{} },
	"recent":    func() match { return &recentMatch{} },
	"physdev":   func() match { return &physdevMatch{} },
	"nfacct":    func() match { return &nfacctMatch{} },
	"set":       func() match { return &setMatch{} },
	"rpfilter":  func() match { return &rpfilterMatch{} },
}
