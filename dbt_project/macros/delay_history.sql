{#
  Recent delays of an entity, hour by hour, from the arrivals and departures that had come in by then.

  An arrival happens when the plane arrives, a departure when it departs. A row stands for the end of an hour and counts
  what happened before that instant. It is known a while later. The same in Polars: assets/flights/_history.py.

  by: entity columns; rows with a null in one are left out.
  hours: window name to length in hours.
  known_after: minutes.
#}
{% macro delay_history(flights, by, hours, known_after=10) %}
with arrivals as (
    select
        {{ by | join(', ') }},
        epoch_us(arrival) // 3600000000 + 1 as hour_end,
        1 as arrivals,
        arr_delay,
        late,
        0 as departures,
        0 as dep_delay
    from {{ flights }}
    where arrival is not null {% for column in by %} and {{ column }} is not null {% endfor %}
),

departures as (
    select
        {{ by | join(', ') }},
        epoch_us(departure) // 3600000000 + 1 as hour_end,
        0 as arrivals,
        0 as arr_delay,
        0 as late,
        1 as departures,
        dep_delay
    from {{ flights }}
    where departure is not null {% for column in by %} and {{ column }} is not null {% endfor %}
),

hourly as (
    select
        {{ by | join(', ') }},
        hour_end,
        sum(arrivals) as arrivals,
        sum(arr_delay) as arr_delay,
        sum(late) as late,
        sum(departures) as departures,
        sum(dep_delay) as dep_delay
    from (select * from arrivals union all select * from departures)
    group by {{ by | join(', ') }}, hour_end
)

select
    {{ by | join(', ') }},
    to_timestamp(hour_end * 3600) as event_time,
    to_timestamp(hour_end * 3600 + {{ known_after }} * 60) as known_at
    {%- for name in hours %},
    (sum(arrivals) over last_{{ name }})::bigint as arrivals_{{ name }},
    sum(arr_delay) over last_{{ name }} / nullif(sum(arrivals) over last_{{ name }}, 0)::double as arr_delay_mean_{{ name }},
    sum(late) over last_{{ name }} / nullif(sum(arrivals) over last_{{ name }}, 0)::double as late_share_{{ name }},
    sum(dep_delay) over last_{{ name }} / nullif(sum(departures) over last_{{ name }}, 0)::double as dep_delay_mean_{{ name }}
    {%- endfor %}
from hourly
window
    {%- for name, length in hours.items() %}
    last_{{ name }} as (
        partition by {{ by | join(', ') }}
        order by hour_end
        range between {{ length - 1 }} preceding and current row
    ){{ "," if not loop.last }}
    {%- endfor %}
order by known_at, {{ by | join(", ") }}
{% endmacro %}
