// The rush in k6: whole sales with thousands of people, each of whom comes, waits, looks, chooses and pays.
//
//     k6 run -e SCENARIO=incident-2 -e STAGE=/tmp/stage.json rush.js
//
// What is played and what must hold is in scenarios.json, made by the harness (`python -m tests.rush.k6`);
// who comes and where is in STAGE, made by `python -m tests.rush incident-2 --stage /tmp/stage.json`.
// People come whether or not others were answered (open model). README.md has the rest.

import { check, sleep } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate } from 'k6/metrics';

// Once for all virtual users: each would have a copy of the whole hall and of everybody's session.
function shared(name) {
  return new SharedArray(name, () => [].concat(JSON.parse(open(__ENV.STAGE))[name]));
}

// Nor does each need to know all scenarios.
const [known] = new SharedArray('known', () => {
  const all = JSON.parse(open('./scenarios.json'));
  return [Object.assign(all, { scenarios: { [__ENV.SCENARIO]: all.scenarios[__ENV.SCENARIO] } })];
});
const [stage] = shared('about');
const [labels, rows, sessions] = [shared('labels'), shared('rows'), shared('sessions')];
const [waitingSessions, forgeries] = [shared('waiting_sessions'), shared('forgeries')];
const told = Object.assign({}, known.scenarios[__ENV.SCENARIO], stage.scaled);
const habits = told.habits;
const path = `/performances/${stage.performance_id}`;

// -- who comes when ---------------------------------------------------------------------------

const wait = Math.max(0, stage.begins_at - Date.now() / 1000); // until the sale is open
const parts = {};
let comes = 0; // people in the parts so far
let begins = wait;

// A virtual user that has to be made first comes too late, and the iteration that wanted it is dropped: hence
// one for everybody who may be there at once. Who sends what is forged is through at once.
function part(name, seconds, count, first, run, atOnce = count) {
  if (!count) return;
  parts[name] = {
    executor: 'constant-arrival-rate',
    exec: run,
    startTime: `${Math.round(first * 1000)}ms`,
    duration: `${Math.round(seconds * 1000)}ms`,
    timeUnit: `${Math.round(seconds * 1000)}ms`,
    rate: count,
    preAllocatedVUs: atOnce,
    maxVUs: atOnce,
    gracefulStop: `${told.patience_seconds}s`,
    env: { FIRST: String(comes), COUNT: String(count) },
  };
}

function people(name, seconds, count) {
  part(name, seconds, count, begins, 'come');
  comes += count;
  begins += seconds;
}

let share = 0; // of the people, in the parts so far: rounded one by one they could be more than there are
told.arrivals.forEach(([seconds, more], number) => {
  share += more;
  people(`arrivals_${number + 1}`, seconds, Math.round(share * stage.people) - comes);
});
if (told.pressure) {
  // The harness finds out what the house takes; here it is said, in people per second.
  const rate = Number(__ENV.RATE);
  if (!(rate > 0)) throw new Error('This scenario wants -e RATE=…, the people per second that the house takes');
  const { slices, slice_seconds: slice, overload_seconds: overload, multiple } = told.pressure;
  const calm = slices * slice;
  people('before', calm, Math.round(rate * calm));
  people('overload', overload, Math.round(rate * multiple * overload));
  people('after', calm, Math.round(rate * calm));
  if (comes > sessions.length) throw new Error(`That wants ${comes} people; the stage has ${sessions.length}`);
}
const seconds = begins - wait;
if (told.forged_per_second) {
  const count = Math.round(told.forged_per_second * seconds);
  part('forged', seconds, count, wait, 'forge', Math.min(count, 500));
}
if (waitingSessions.length) {
  const [first, last] = told.waiting_come;
  part('elsewhere', last - first, waitingSessions.length, wait + first, 'waitElsewhere');
}

// A declared refusal is no failure: only a 5xx is, and what got no answer.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 499 }));

// Who is cut off when patience ends has no end, and no share of `booked`: so bookings are counted as well.
function counted(thresholds) {
  if (!thresholds.booked) return {};
  return { bookings: thresholds.booked.map((one) => `count>=${Math.floor(Number(one.split(/[=<>]+/)[1]) * comes)}`) };
}

export const options = {
  scenarios: parts,
  // Who could not come because k6 had no room for them would make everything look quicker.
  thresholds: Object.assign({ dropped_iterations: ['count==0'] }, told.thresholds, counted(told.thresholds)),
};

const undeclared = new Counter('undeclared');
const lost = new Counter('lost');
const withoutRetryAfter = new Counter('without_retry_after');
const noSeats = new Counter('no_seats');
const forged = new Counter('forged');
const forgedRefused = new Rate('forged_refused');
const booked = new Rate('booked');
const bookings = new Counter('bookings');
const waited = new Rate('waited');
const ends = new Counter('ends');

// -- one request --------------------------------------------------------------------------------

function ask(name, where, headers, body) {
  const sent = Object.assign({}, headers);
  if (body !== undefined) sent['Content-Type'] = 'application/json';
  const { method, declared } = known.calls[name];
  const content = body === undefined ? null : JSON.stringify(body);
  const how = { headers: sent, tags: { name }, timeout: `${known.patience_seconds}s` };
  const answer = http.request(method, `${stage.base}${where}`, content, how);
  const reply = { status: answer.status, body: {}, retryAfter: Number(answer.headers['Retry-After'] || 0) };
  if (answer.body && answer.body[0] === '{') reply.body = JSON.parse(answer.body);
  reply.ok = reply.status >= 200 && reply.status < 300;
  const outcome = reply.ok ? String(reply.status) : `${reply.status} ${reply.body.code}`;
  const isDeclared = declared.includes(outcome);
  check(reply, { 'answered as the document says': () => isDeclared });
  if (!reply.status) lost.add(1);
  else if (!isDeclared) undeclared.add(1, { outcome });
  if ([429, 503].includes(reply.status) && !reply.retryAfter) withoutRetryAfter.add(1);
  return reply;
}

// Like ask, and again when the service is busy or was not heard, after as long as it said.
function insist(name, where, headers, body) {
  let reply = ask(name, where, headers, body);
  for (let tries = 1; tries < 10 && [0, 429, 503].includes(reply.status); tries += 1) {
    sleep(Math.max(reply.retryAfter, 0.5));
    reply = ask(name, where, headers, body);
  }
  return reply;
}

// -- one person -----------------------------------------------------------------------------------

function pick(items) {
  return items[Math.floor(Math.random() * items.length)];
}

// At most five times the mean: people see how long their hold still lasts.
function thinking(mean) {
  return Math.min(-Math.log(1 - Math.random()), 5) * mean;
}

// Free seats next to each other in one row, from a random one on; fewer when nothing else is.
function choose(states, quantity) {
  const limit = Math.max(1, Math.round(states.length * habits.wanted));
  let start = Math.floor(Math.random() * limit);
  for (let glance = 0; glance < known.glances && states[start] !== 'f'; glance += 1) {
    start = Math.floor(Math.random() * limit);
  }
  let best = [];
  for (let step = 0; step < limit && best.length < quantity; step += 1) {
    const seat = (start + step) % limit;
    if (states[seat] === 'f') {
      const group = [seat];
      for (let next = seat + 1; group.length < quantity && next < limit; next += 1) {
        if (states[next] !== 'f' || rows[next] !== rows[seat]) break;
        group.push(next);
      }
      if (group.length > best.length) best = group;
    }
  }
  return best.map((seat) => labels[seat]);
}

class Person {
  constructor(session, room) {
    this.session = { Authorization: `Bearer ${session}` };
    this.tokens = {};
    this.room = room;
    this.quantity = pick(habits.party);
  }

  come() {
    let end = this.buy(habits.pay_share);
    if (end === 'abandoned' && habits.returns_after !== null) {
      sleep(habits.returns_after);
      end = this.buy(1);
    }
    return end;
  }

  buy(payShare) {
    this.read('get_event');
    const refused = this.wait(Infinity);
    if (refused) return refused;
    this.read('list_seats');
    const held = this.hold();
    if (!held) return 'no_seats';
    sleep(thinking(habits.think_seconds));
    return Math.random() < payShare ? this.pay(held) : 'abandoned';
  }

  read(name) {
    const where = known.reads[name].replace('{event}', stage.event_path).replace('{sale}', this.room);
    if (habits.reads.includes(name)) insist(name, where, {});
  }

  // Join and poll until it is one's turn; return why it will not be, or nothing.
  wait(until) {
    let reply = insist('join_queue', `${this.room}/queue`, this.session);
    while (reply.ok && reply.body.status !== 'admitted' && Date.now() < until) {
      this.keep(reply);
      sleep(reply.body.poll_after_ms / 1000);
      reply = insist('poll_queue', `${this.room}/queue`, this.showing('Waiting-Token'));
    }
    this.keep(reply);
    return reply.ok ? '' : `queue: ${reply.body.code}`;
  }

  keep(reply) {
    if (reply.body.waiting_token) this.tokens['Waiting-Token'] = reply.body.waiting_token;
    if (reply.body.access_token) this.tokens['Access-Token'] = reply.body.access_token;
  }

  showing(token) {
    return Object.assign({ [token]: this.tokens[token] }, this.session);
  }

  // Get seats; who finds none watches the map as long as their patience lasts.
  hold() {
    const until = Date.now() + habits.stays_seconds * 1000;
    let reply = this.choose(habits.looks);
    while ((!reply || known.gone.includes(reply.body.code)) && Date.now() < until) {
      this.pause();
      reply = this.choose(1);
    }
    return reply && reply.ok ? reply : null;
  }

  // Look, choose and try some times; then take what the service finds. null: nothing to try for.
  choose(looks) {
    let seats = [];
    if (Math.random() >= habits.best_share) {
      for (let tries = 0; tries < habits.tries; tries += 1) {
        seats = this.look(tries ? 1 : looks);
        if (!seats.length) break;
        const reply = this.askFor({ seats });
        if (reply.body.code !== 'seats_taken') return reply;
      }
    }
    // Those seats or none; or it is seen that there are none.
    if (habits.wanted < 1 || (habits.stays_seconds && !seats.length)) return null;
    return this.askFor({ best_available: { quantity: this.quantity } });
  }

  pause() {
    sleep(habits.look_seconds * (0.5 + Math.random()));
  }

  look(times) {
    let states = '';
    for (let number = 0; number < times; number += 1) {
      if (number) this.pause();
      states = insist('get_availability', `${this.room}/availability`, {}).body.states || '';
    }
    return states ? choose(states, this.quantity) : [];
  }

  askFor(wish) {
    return insist('place_hold', `${this.room}/holds`, this.showing('Access-Token'), wish);
  }

  pay(held) {
    const key = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    const headers = Object.assign({ 'Idempotency-Key': key }, this.showing('Access-Token'));
    const reply = insist('pay', '/bookings', headers, { hold_id: held.body.id });
    return reply.ok ? 'booked' : `pay: ${reply.body.code}`;
  }
}

// -- what k6 runs -----------------------------------------------------------------------------------

export function setup() {
  // A counter that nobody touched has no value to hold a threshold to.
  [undeclared, lost, withoutRetryAfter, noSeats, bookings].forEach((counter) => counter.add(0));
}

export function come() {
  // k6 begins one iteration more than a part has: that would be the first person of the next part.
  if (exec.scenario.iterationInTest >= Number(__ENV.COUNT)) return;
  const number = Number(__ENV.FIRST) + exec.scenario.iterationInTest;
  const end = new Person(sessions[number], path).come();
  booked.add(end === 'booked');
  if (end === 'booked') bookings.add(1);
  if (end === 'no_seats') noSeats.add(1);
  ends.add(1, { end });
}

export function waitElsewhere() {
  const number = exec.scenario.iterationInTest;
  if (number >= waitingSessions.length) return;
  const until = (stage.begins_at + Math.min(seconds, told.waiting_go || seconds)) * 1000;
  const room = `/performances/${stage.other_performance_id}`;
  waited.add(new Person(waitingSessions[number], room).wait(until) === '');
}

export function forge() {
  const { kind, token } = forgeries[exec.scenario.iterationInTest % forgeries.length];
  let reply;
  if (kind === 'access') {
    const headers = { Authorization: `Bearer ${pick(sessions)}`, 'Access-Token': token };
    reply = ask('forged_hold', `${path}/holds`, headers, { seats: [labels[0]] });
  } else {
    reply = ask('forged_poll', `${path}/queue`, { 'Waiting-Token': token });
  }
  forged.add(1);
  forgedRefused.add(reply.status >= 400 && reply.status < 500);
}
