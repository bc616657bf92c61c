package iptables

// A tree decides digit by digit, and has only so many levels. Whoever writes the addresses of a Service can spend the levels on the way to
// another one's address, and then have many entries there. So a chain whose entries the levels below cannot take digit by digit divides them
// into clusters of limited size instead: each is what begins with some digits, less what begins with longer ones and has been cut out before.

// spread is in how many parts a level divides its entries at least, where it has to.
const spread = 8

// capacity is how many entries a chain at a depth can take for certain.
func capacity(depth int) int {
	n := spread
	for range deepest - depth {
		n *= spread
	}
	return n
}

// slack is how many entries a chain may list although they share digits, where there is no level left for them.
const slack = 16

// fits reports whether digit after digit leads from a chain at a depth to short lists, within the levels that there are.
func fits(entries []entry, depth int) bool {
	if len(entries) <= slack {
		return true
	}
	if depth >= deepest {
		return false
	}
	differs := common(entries[0].key, entries[len(entries)-1].key)
	for len(entries) > 0 {
		group := sameDigit(entries, differs)
		entries = entries[len(group):]
		if !fits(group, depth+1) {
			return false
		}
	}
	return true
}

// byDigit reports whether a chain can divide its entries by their next digit.
func byDigit(entries []entry, depth int) bool {
	differs := common(entries[0].key, entries[len(entries)-1].key)
	for len(entries) > 0 {
		group := sameDigit(entries, differs)
		entries = entries[len(group):]
		if len(group) > capacity(depth+1) && !fits(group, depth+1) {
			return false
		}
	}
	return true
}

// clusters divides sorted entries. In the order in which they are returned, the entries of one share digits with none of a later one's that
// all of its own share: so a packet that matches these digits matches no later entry.
func clusters(entries []entry, most int) [][]entry {
	var list [][]entry
	rest := cutClusters(entries, most, &list)
	return append(list, rest)
}

// cutClusters appends clusters of entries to a list until no more than most are left, which it returns.
func cutClusters(entries []entry, most int, list *[][]entry) []entry {
	if len(entries) <= most {
		return entries
	}
	var rests [][]entry
	total := 0
	differs := common(entries[0].key, entries[len(entries)-1].key)
	for len(entries) > 0 {
		group := sameDigit(entries, differs)
		entries = entries[len(group):]
		rest := cutClusters(group, most, list)
		rests, total = append(rests, rest), total+len(rest)
	}
	for total > most {
		largest := 0
		for i := range rests {
			if len(rests[i]) > len(rests[largest]) {
				largest = i
			}
		}
		*list = append(*list, rests[largest])
		total -= len(rests[largest])
		rests[largest] = nil
	}
	var left []entry
	for _, rest := range rests {
		left = append(left, rest...)
	}
	return left
}
