"""What products, teams and versions cost: what commits say they used, priced by a declared tariff."""

from headwater.cost._attribution import versions_of
from headwater.cost._records import Answered, Kind, Spent, answered, spent
from headwater.cost._report import By, Cost, CostReport, cost_report
from headwater.cost._tariff import Prices, Tariff, TariffError, read_tariff

__all__ = [
    "Answered",
    "By",
    "Cost",
    "CostReport",
    "Kind",
    "Prices",
    "Spent",
    "Tariff",
    "TariffError",
    "answered",
    "cost_report",
    "read_tariff",
    "spent",
    "versions_of",
]
